"""The official RIGSL feature files of IEMOCAP and MELD, checked item by item and converted to a `Corpus`.

corpus    `load_official`: both files -> the corpus, converted once
files     names, items and layout of the files
rows      one dialogue's values in an item, checked
pickles   reads pickle files without running anything in them
"""
