"""The command line: arguments, exit codes, and what each command does and prints.

Imports any room; nothing imports it.
"""
