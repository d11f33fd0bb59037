"""The stages of NSROM on a VOC-shaped data set, and what they share."""
