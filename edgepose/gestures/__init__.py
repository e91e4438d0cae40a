"""What people do, told from their keypoints: built-in rules, and gestures taught from examples."""
