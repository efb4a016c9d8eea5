"""Where images and their edits come from."""
