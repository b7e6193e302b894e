"""The tests on 64-bit ARM, in user-mode emulation."""
