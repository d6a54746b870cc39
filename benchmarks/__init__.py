"""Measurements of tinycnn: beside other engines, against the hardware, against itself.

    python -m benchmarks               every section; some minutes, best on a quiet machine
    python -m benchmarks --quick       the table of peers and the roofline, under a minute
    python -m benchmarks startup       one section: peers, roofline, architectures or startup
    python -m benchmarks --against REV this working tree beside another version of itself
    python -m benchmarks --isa avx2    as on a machine without AVX-512, see isa.py

Peers are optional (`pip install -e ".[bench]"`); those that are missing are listed as such.

How fairness is kept:
- Every engine, ours too, runs in a process of its own, held to one core or to all by the
  operating system, with the thread count set in the engine's own way as well.  While one is timed
  all others are stopped (SIGSTOP), so spinning threads of an idle pool disturb nobody and no engine
  has to give up its own way of waiting.
- Rounds are interleaved and short: every engine once a round, in a new order each round; each turn
  starts with untimed calls, since caches and cores were another's a moment ago.
- All get the same weights and images, and what they answer is compared with the reference in
  float64 first.  Who disagrees is not timed.  Images at which a max-pooling or ReLU nearly ties are
  not used: there the gradient jumps, and rounding decides.
- A forward pass goes from a NumPy array to a NumPy array, each engine by its cheapest way.
  Rearranging the weights for an engine's own layout is done beforehand and not timed.
- A training step is forward, loss, backward and Adam, and returns the loss as a number.  Every turn
  starts again from the same weights: none drifts into another regime.
- A fixed loop of loads and multiply-adds is timed in every round as well.  Its spread, and how far
  it stays above its shortest time, show whether the machine was quiet.
- A loop of fused multiply-adds that touches no memory gives the peak that the roofline divides by.
"""
