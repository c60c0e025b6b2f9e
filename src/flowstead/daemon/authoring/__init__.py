"""What people write in a workspace, as the editor sees it: which files, their text, and what is wrong with it."""
