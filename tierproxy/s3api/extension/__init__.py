"""What the object port serves beyond S3, for the mount: ``docs/mount-extension.md``. Rows of the same table of
operations, with the same authentication and grants."""
