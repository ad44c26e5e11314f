"""Files of any format -> tables of texts.

tables      the formats, and data frames
csv_file    CSV and TSV, and the encoding of text files
json_file   JSON and JSON lines, nested in any way
cells       values as the texts of cells
times       times in seconds
"""
