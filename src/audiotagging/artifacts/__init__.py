"""What passes between stages: each module writes, reads and checks one form of it. Every image holds these."""
