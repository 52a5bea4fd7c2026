"""What the words on the pages mean; each page ends with this list."""

GLOSSARY = {
    "score": "a number from 0 (real) to 1 (fake) that the members together give a file",
    "member": "one of the networks whose scores are combined",
    "branch": "image members look at single crops, video members at many crops of a face in order: two branches",
    "crop": "the square around a face that is cut out of a frame",
    "track": "one face through the whole video",
    "group": "five crops of one face, evenly spread over the video, whose scores are averaged",
    "version": "a real face of the calibration as it is, or a smaller or more compressed copy of it",
    "real": "known not to be manipulated; the calibration was made with real faces or videos",
    "rate": "the false-positive rate: a bound for the share of real faces or videos that score as high or higher; it "
    "is not the plain share of those that were counted, because it allows for their small number, and because every "
    "data set may count alike: then the many faces of a large set weigh no more than the few of a small one",
    "stratum": "real faces or videos in similar conditions (size, sharpness, light) to which a file is compared",
    "verdict": "what a score is called: likely fake (rate up to 1%), leans fake (5%), suspicious (20%), uncertain",
    "log odds": "the logarithm of score / (1 - score), the scale on which a network adds up what it sees",
    "SHA-256": "a number that identifies the exact content of a file: if one byte changes, so does the number",
}
