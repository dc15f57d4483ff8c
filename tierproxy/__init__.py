"""tierproxy: mail in S3, hot mail on local disk."""
