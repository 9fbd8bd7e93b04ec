"""What passes between stages. Each module writes, reads and checks one kind of artifact."""
