"""What the words on the pages mean; each page ends with this list."""

GLOSSARY = {
    "score": "a number from 0 (real) to 1 (fake) that the members together give a file",
    "member": "one of the networks whose scores are combined",
    "branch": "image members look at single crops, video members at many crops of a face in order: two branches",
    "crop": "the square around a face that is cut out of a frame",
    "track": "one face through the whole video",
    "group": "five crops of one face, one after another in the sampled frames; their log odds are averaged and make "
    "one score; the groups are spread over the whole video",
    "real": "known not to be manipulated; the calibration was made with real faces or videos",
    "version": "a real face of the calibration as it is, or a smaller or more compressed copy of it",
    "rate": "the false-positive rate: a bound for the share of real faces or videos that score as high or higher; it "
    "is not the plain share of those that were counted, because it allows for their small number, and because every "
    "data set may count alike: then the many faces of a large set weigh no more than the few of a small one",
    "stratum": "real faces or videos in similar conditions to which a file is compared: size, sharpness and light",
    "pixels wide": "the side of what the networks see of a face; the shipped ones see the middle 65% of a crop's side",
    "sharpness": "how much neighbouring pixels differ (the mean absolute Laplacian of the crops, scaled to 128 pixels)",
    "light": "the mean grey level of the crops, from 0 (black) to 1 (white)",
    "bits per pixel": "how much the file spends on a pixel of a frame: the fewer, the stronger the compression",
    "crf": "how strongly H.264 compresses: 18 looks like the original, 23 is usual, 33 shows blocks",
    "verdict": "what a score is called, by how rare it is among real faces: likely fake (rate up to 1%), leans fake "
    "(5%), suspicious (20%), uncertain. It does not say how likely it is that a file is fake: that also depends on how "
    "common fakes are",
    "AUC": "how often a fake scores above a real face, of all pairs: 1 is perfect, 0.5 is chance",
    "log odds": "the logarithm of score / (1 - score), the scale on which a network adds up what it sees",
    "DFDC, FaceForensics++, Celeb-DF, inswapper, LFW, UTKFace": "public collections of real and swapped faces",
    "SHA-256": "a number that identifies the exact content of a file: if one byte changes, so does the number",
}
