"""`edged detect`: look at pictures, videos, folders, cameras and streams once."""
