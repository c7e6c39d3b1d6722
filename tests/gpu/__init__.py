"""Claims about CUDA and NCCL; `make test-gpu` runs them.

GPU_TESTS_DEVICE=cpu tries the bodies of those that need no CUDA of their own.
"""
