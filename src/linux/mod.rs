//! What Linux would do: the behaviour of the kernel as pure functions of topology, memory map and parameters.
