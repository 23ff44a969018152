<?php
// Net_Sieve against the server.
require_once 'Net/Sieve.php';
error_reporting(E_ALL & ~E_DEPRECATED);
[, $port, $ca, $user, $password, $good, $broken, $fault] = $argv;

function must($x, $what) {
    if ($x instanceof PEAR_Error) {
        echo "$what: " . $x->getMessage() . "\n";
        exit(1);
    }
    return $x;
}

function refused($x, $word) {
    if (!($x instanceof PEAR_Error) || strpos($x->getMessage(), $word) === false) {
        echo "not refused with $word: ";
        var_dump($x);
        exit(1);
    }
}

$s = new Net_Sieve();
must($s->connect('localhost', (int)$port, ['ssl' => ['cafile' => $ca, 'peer_name' => 'localhost', 'verify_peer' => true]], true), 'connect');
refused($s->login($user, 'wrong', 'PLAIN', '', false), 'authentication failed');
must($s->login($user, $password, null, '', false), 'login');
if (!in_array('FILEINTO', $s->getExtensions())) {
    print_r($s->getExtensions());
    exit(1);
}
must($s->haveSpace('main', 1000), 'space');
refused($s->haveSpace('main', 1000000000), 'QUOTA/MAXSIZE');
must($s->installScript('main', file_get_contents($good), true), 'install');
refused($s->installScript('main', file_get_contents($broken)), $fault);
if ($s->listScripts() !== ['main'] || $s->getActive() !== 'main' || trim($s->getScript('main')) !== trim(file_get_contents($good))) {
    print_r([$s->listScripts(), $s->getActive(), $s->getScript('main')]);
    exit(1);
}
refused($s->removeScript('main'), 'ACTIVE');
must($s->installScript('other', 'keep;'), 'install another');
must($s->removeScript('other'), 'remove');
must($s->setActive(''), 'deactivate');
must($s->setActive('main'), 'activate');
must($s->disconnect(), 'disconnect');
