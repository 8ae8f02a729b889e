"""The command line: arguments, exit codes, what each command does and prints.

Imports any room; nothing imports it.
"""
