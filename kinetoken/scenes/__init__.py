"""What is filmed: tracks in space, their pictures, the clip store, and the ball found again in pixels."""
