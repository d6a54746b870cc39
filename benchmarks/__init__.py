"""Benchmarks of tinycnn: against other engines, the hardware's peak, and other versions of itself.

    python -m benchmarks                every section; most of an hour, best on a quiet machine
    python -m benchmarks zoo            one section: zoo (ten networks on all engines, 20
                                        minutes), roofline, architectures or startup
    python -m benchmarks --quick        the zoo, with as many networks as fit into a minute
    python -m benchmarks operations NETWORK  time of each operation of a network, see operations.py
    python -m benchmarks cost-model     whether the fastest way of 3x3 convolutions is chosen
    python -m benchmarks int8           prediction in 8-bit integers, see int8.py
    python -m benchmarks microcontroller    exported C programs on emulated boards
    python -m benchmarks threads        whether the default number of threads is the right one
    python -m benchmarks --against REV  this working tree against another revision of it
    python -m benchmarks --isa avx2     as if the processor had no AVX-512, see isa.py

The other engines ("peers") are optional (`pip install -e ".[bench]"`); missing ones are reported.

How the comparison is kept fair:
- Each engine, ours included, runs in a process of its own. The operating system restricts the
  process to one core or to all of them, and the engine's thread count is set to match. While one
  engine is timed, the processes of all others are stopped (SIGSTOP). So their idle threads disturb
  nobody, even if they spin, and each engine can wait for work in its own way.
- Rounds are short and interleaved: each round times every engine once, in a new random order. A
  turn begins with calls that are not timed, because another engine has used the cores and caches.
- All engines get the same weights and images. Their answers are compared with a float64 reference
  first, and an engine that disagrees is not timed.
- Inference engines get models without BatchNorm, as the converters write them. tinycnn folds it in
  prediction by itself. PyTorch (in evaluation mode) and JAX keep it.
- An engine that takes ten times as long as the fastest is timed in two rounds alone.
- A forward pass goes from a NumPy array to a NumPy array, in the fastest way the engine offers.
  Rearranging the weights for an engine's own layout is done beforehand and not timed.
- A training step is forward, loss, backward and Adam, and returns the loss as a number. Every turn
  begins with the same weights, so that all engines do the same work.
- A fixed loop of loads and multiply-adds, the control, is timed in every round as well. Its spread,
  and how far it is above its shortest time, show whether the machine was quiet.
- The roofline divides by the rate of a loop of fused multiply-adds that touches no memory.
"""
