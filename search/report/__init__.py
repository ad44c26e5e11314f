"""The report of a study (``report.html``), and the comparison of several.

- write: `write_report`, `rebuild`, `study_claim`; the entry points.
- data: `StudyData`, everything that a report is made from.
- page: the whole page; registry: its sections in their order; sections/: one file each.
- claim: the result of a study in one sentence.
- answers: configuration, taught and average as rows of tables.
- comparison, comparison_page: several studies side by side (--compare).
- incumbent: the best score so far over trials and time; clock: the time of the search without pauses.
- importance: hyperparameter importance by PED-ANOVA and fANOVA.
- trial_views: the trials as plots and importances read them.
- facts: what needs the corpus or the model, stored in the run folder.
- format: numbers as text; html: pieces of pages; style: colours and CSS.
- charts: Plotly figures; pictures: PNG files.
"""
