"""What both packages stand on: it knows neither networks nor faces.

The one room of tinycnn that ferdata may import.
"""
