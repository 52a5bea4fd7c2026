"""What is looked at of one video: sampled frames, tracked faces, and the crops that members see."""
