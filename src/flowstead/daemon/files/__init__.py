"""Looking at files: what may be looked at, what it is, and tables page by page.

The daemon itself only lists folders, tells what a file is, and hands out its bytes. Whatever has to understand a file's
content happens in a child process (`python -m flowstead.daemon.files`) that holds no more memory than it may, and that
can be ended at any moment.
"""
