"""Server, Gadgetron module and pipe: sessions, their queues and threads, and the scheduler of slices."""
