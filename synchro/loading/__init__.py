"""Many rows into one table, the fast way of each database."""
