"""Pages to look at results with: what ``sym3d report`` writes into one file and ``sym3d view`` serves.

Two JSON documents hold everything: the *overview* (training curves, sample sheets, histograms, provenance) is small and
read again while a training runs, the *items* (pictures, depth grids and figures of each photograph) are large.
"""

from stages.pages.html import page, to_json
from stages.pages.items import read_items
from stages.pages.overview import read_overview
from stages.pages.sources import Sources, find_sources, stamp

__all__ = ["Sources", "find_sources", "page", "read_items", "read_overview", "stamp", "to_json"]
