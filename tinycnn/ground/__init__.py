"""Code that tinycnn and ferdata share.  It knows neither networks nor faces.

ferdata may import no other part of tinycnn.
"""
