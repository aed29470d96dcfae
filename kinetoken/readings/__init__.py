"""What trained models read of the first three quarters of a clip, as one table that later rooms work from."""
