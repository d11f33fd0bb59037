"""How fast and how lean the library is, against what people use today: ``make bench``."""
