package store

// MarkRedelivered marks every entry as delivered before. It visits them all.
func (s *Store) MarkRedelivered() {
	slots := make([]uint32, 0, pageRecords)
	for p := range s.entries.meta {
		slots = s.entries.meta[p].appendSlots(slots[:0], uint32(p))
		for _, slot := range slots {
			if s.entries.at(slot).redelivered {
				continue
			}
			r := s.entries.mut(slot)
			serial, message := s.queueSerials[r.queue], s.messages.at(uint32(r.message))
			s.digest.Sub(entryPart(serial, r, message))
			r.redelivered = true
			s.digest.Add(entryPart(serial, r, message))
		}
	}
}
