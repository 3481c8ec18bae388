"""Problems that are answered with a program, and judged by running it."""
