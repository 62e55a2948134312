"""How the tests run the program: processes, their output, and bare sockets."""
