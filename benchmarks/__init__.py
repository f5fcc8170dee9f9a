"""What the README's speed table is made with: `make bench`.

- `work.py` is what is timed. It is run as a program of its own, by this package's interpreter
  and by the one that has the public dvclive, so that both do the very same work.
- `rows/` says what is compared: each row has a place that is prepared once, the contenders, and
  a physical limit measured beside them.
- `measure.py` runs the contenders of a row in turn, again and again, and takes the median.

To add a row, append a `Row` in one of the modules of `rows/`.
"""
