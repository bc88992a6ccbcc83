"""The names under which data is found in an AnnData: the only place with these strings.

``obsm["spatial"]`` holds (x, y) in pixels at full resolution, the centre of each spot.
``obs["array_col"]`` and ``obs["array_row"]`` are the integer grid coordinates, which the
library carries together as ``positions``, in that order (the order of ``spatial``).
"""

SPATIAL = "spatial"
SECTION = "section"
PATIENT = "patient"
ARRAY_ROW = "array_row"
ARRAY_COL = "array_col"
CELL_TYPE = "cell_type"
DOMAIN = "domain"
MEASURED = "measured"  # varm: genes x sections, False where 0 is no measurement; layers: the truth
UNS = "histoexpr"

# What a missing name in a column of ``obs`` becomes.
MISSING = "nan"
