// The page needs none yet.
