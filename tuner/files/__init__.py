"""Says where files lie, on disks and in object stores."""
