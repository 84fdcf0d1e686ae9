"""A flock that is drawn, not photographed: pictures, captions and the truth about both, in CUB-200-2011's archive layout.

`species` says which birds there are, `anatomy` and `bird` draw one, `scene` what is behind it, `captions` describe it,
`picture` makes one finished picture and `archive` packs them all.
"""
