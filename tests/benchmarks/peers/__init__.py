"""What people use for this job today: scripts as a user would write them from each tool's documentation."""
