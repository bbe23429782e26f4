"""One BLAS thread: the matrices of the tests are tiny, and threads that wait for each other on a busy machine cost seconds."""
import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # read when numpy and torch are first imported
