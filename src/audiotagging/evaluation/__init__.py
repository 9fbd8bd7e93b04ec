"""What a run scores, where it is wrong, and how it compares with another."""
