"""The crash drill: kbadmin's real processes, killed at random while documents stream in.

    python -m tests.drill            # what `make drill` runs: some minutes
    python -m tests.drill --short    # what `make test` runs

It has a data folder, a database and ports of its own. An acceptor hands over documents and
notes each in a journal once it was accepted; meanwhile worker, web, Chroma and the acceptor
itself are killed with SIGKILL, by a plan that its seed fixes, and started again. Then nobody
touches anything, and everything in the journal has to be indexed and found.
"""
