"""A package, because pytest takes only one `conftest` that is in none."""
