"""What holds after every call, whatever a test is about: judged at the end of each."""
