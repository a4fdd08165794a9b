"""Plays the cases against one broker and prints the transcript: oracle.py HOST:PORT [--http HOST:PORT] [--only REGEX].

Compare two with compare.py.
"""
import argparse

import cases_basic  # noqa: F401  (registers its cases, as those below do)
import cases_connection  # noqa: F401
import cases_deadletter  # noqa: F401
import cases_topology  # noqa: F401
import transcript

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("address")
parser.add_argument("--http", default="")
parser.add_argument("--only", default="")
arguments = parser.parse_args()
for line in transcript.run(arguments.only, arguments.address, arguments.http):
    print(line)
