"""The backprop microscope: one image, forward and backward through a network, on one page.

explanation = explain(network, image)          # every value, and sampled numeric gradients
write_page("page.html", explanation)
write_comparison("page.html", [explanation, another])      # several images side by side
"""

from .comparison import render_comparison as render_comparison
from .comparison import write_comparison as write_comparison
from .explanation import Explanation as Explanation
from .explanation import explain as explain
from .page import render_page as render_page
from .page import write_page as write_page
