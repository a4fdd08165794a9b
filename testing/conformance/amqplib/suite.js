'use strict';
// What amqplib can do, against the cluster: see tap.js for how a test looks.

const {run} = require('./tap');

require('./publishing');
require('./consuming');
require('./topology');
require('./expiry');
require('./limits');
require('./errors');
require('./replies');
require('./faults');

run();
