"""`edged detect`: detects in pictures, videos, folders, cameras and streams once."""
