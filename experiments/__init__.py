"""What percert measures about itself. ``README.md`` beside this file says how to run it."""
