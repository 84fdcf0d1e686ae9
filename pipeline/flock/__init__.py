"""A flock that is drawn, not photographed: pictures, captions and the truth about both, in CUB-200-2011's archives.

`species` says which birds there are, `anatomy` and `plumage` draw one (with `geometry`), `canvas` paints it before a
`scene`, `captions` describe it, `picture` makes one finished picture and `archive` packs them all.
"""
