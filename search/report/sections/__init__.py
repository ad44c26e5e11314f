"""The sections of the report, one file each; a function `content` returns the HTML of the section.

`search.report.registry` lists them in the order of the page.
"""
